"""The lab in simulated time: the same behaviours over a modelled network and a virtual clock."""
