# Gradient descent on (x - 1)^2 with learning rate lr: stands in for any program. Run by configs/command.py.
BEGIN {
    x = 3
    for (step = 1; step <= 25; step++) {
        x -= lr * 2 * (x - 1)
        printf "hpctune: loss=%g x=%g\n", (x - 1) ^ 2, x
        fflush()
    }
}
