class Simulated:
    def __init__(self): self.held = 0
    def execute(self, reference): self.held += 1
    def compensate(self, reference, receipt): self.held -= 1
