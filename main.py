from choreo.node.session import Session
from choreo.node.streams import serve
from choreo.runners.in_process import InProcessRunner
from services.simulated import Simulated
import sys
s=Simulated()
session=Session(InProcessRunner(lambda step: s), lambda l: print(l, file=sys.stderr))
serve(session,0,1)
