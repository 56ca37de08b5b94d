"""Groups of the commands in `choreo --help`, in the order in which help shows them."""

RUN_AND_COMPARE = "Run and compare"
BREAK_AND_PROVE = "Break and prove"
OPERATE = "Operate"
LEARN = "Learn"
