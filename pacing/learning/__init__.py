"""What a campaign's past says of its calls and agents, kept up event by event."""
