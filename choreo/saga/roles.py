"""Names of the participants that are not steps, as they stand in events, tables and traces."""

CLIENT = "client"
COORDINATOR = "coordinator"
ORCHESTRATOR = "orchestrator"
IDEMPOTENT_RECEIVER = "front door"
DEAD_LETTERS = "dead letters"
