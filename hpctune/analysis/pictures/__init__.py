"""Pictures of an experiment: the numbers of each (``history``, ``curves``, ``importance``, ``parameters``,
``pareto``),
made of ``trials``; ``static`` (matplotlib), ``interactive`` (plotly) and the page (``analysis.page``) draw the same."""
