"""What every layer uses and no layer owns: no knowledge of trials, jobs or files of an experiment."""
