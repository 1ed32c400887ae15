"""By what it is measured how close a case came."""

MEASURES = {
    "top-k": "ulps between the k-th probability and the next one, where their logits differ",
    "list": "how many times the logits of equal probability at the k-th fit in the list's margin",
    "top-p": "ulps between a cumulative sum and the value from which on it exceeds top_p",
    "race": "steps of 2^-24 by which the best p / q exceeds the second",
    "estimate": "by how much of an estimate's bound the decision left no doubt",
}
"""What is measured, and in what; 0 is a tie."""
