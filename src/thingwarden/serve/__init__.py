"""The loop that joins the stages: replay, journal."""
