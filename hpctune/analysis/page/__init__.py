"""``hpctune html``: experiments as one page that needs nothing else.

``data`` says what the page knows, ``build`` puts it into the template. The pictures on the page are drawn by its own
small script, not by plotly: a page is an attachment of a mail, and plotly alone is 4.8 MB; ten thousand trials are
quick on a canvas; and every picture follows the filter, the theme and the keyboard.
"""
