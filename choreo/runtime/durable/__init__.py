"""The durable runner: write-ahead; an event is committed to the journal before any service or client sees it."""
