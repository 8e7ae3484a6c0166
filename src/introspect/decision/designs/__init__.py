"""Which trials to show: candidates, designs that choose among them, and repeats for an audit."""
