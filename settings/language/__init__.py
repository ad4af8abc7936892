"""What all sections of a stack file are made with: their base class, kinds of values, secrets, schedules."""
