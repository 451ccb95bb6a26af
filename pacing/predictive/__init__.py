"""How many calls to place when more may answer than agents are free."""
