"""One run of a stage: its params, inputs and files, what is checked before it starts, and the record that it leaves."""
