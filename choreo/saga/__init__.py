"""What a saga is: steps, plan, guarantees, outcome, and the service that an author writes. Pure."""
