"""The durable runner: what is promised is in the journal before anybody hears of it."""
