"""The cluster ``local``: jobs as processes of this machine."""
