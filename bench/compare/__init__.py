"""Recorded runs → statistics over seeds → tables, verdicts and a report; does not need torch."""
