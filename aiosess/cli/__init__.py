"""The command line: an operator's commands for all sessions at once, without the application."""

__all__ = ()
