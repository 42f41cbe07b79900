"""What happened and what it adds up to: events, the rules of their order, waves. Pure."""
