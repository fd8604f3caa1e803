"""Speed and memory of the losses beside their peers (make bench, make bench-gpu), and the stored results."""
