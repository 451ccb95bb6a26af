"""What would come of other settings, and what would have: asked by people, simulated beside us."""
