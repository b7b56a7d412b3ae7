"""What an operator expects around the run: scheduling files, conditions told once, metrics, pings, a doctor."""
