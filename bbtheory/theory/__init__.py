"""What must hold: float64, deterministic; numpy and scipy only."""
