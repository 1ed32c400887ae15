"""What every room speaks of: cases, outcomes, verdicts, implementations."""
