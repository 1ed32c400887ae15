"""The exception of a statistic that was asked of something it does not hold for."""


class StatisticsError(ValueError):
    """The input has no p-value: no draws, tokens out of range, probabilities that are none."""
