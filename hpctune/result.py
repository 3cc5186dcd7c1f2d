"""``hpctune.result``: the result of one trial, and the names of the keys in every reported result."""

from hpctune.analysis.result import Result

DONE = "done"
TRIAL_ID = "trial_id"
TRAINING_ITERATION = "training_iteration"
TIME_THIS_ITER_S = "time_this_iter_s"
TIME_TOTAL_S = "time_total_s"
TIMESTEPS_THIS_ITER = "timesteps_this_iter"
TIMESTEPS_TOTAL = "timesteps_total"
EPISODES_TOTAL = "episodes_total"
HOSTNAME = "hostname"
NODE_IP = "node_ip"
PID = "pid"
EXPR_RESULT_FILE = "result.json"
EXPR_PARAM_FILE = "params.json"
EXPR_PARAM_PICKLE_FILE = "params.pkl"
EXPR_PROGRESS_FILE = "progress.csv"
EXPR_ERROR_FILE = "error.txt"

__all__ = ["Result"]
