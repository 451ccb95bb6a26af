"""`make run`: a whole call centre on this machine with a demo campaign and a live board."""
