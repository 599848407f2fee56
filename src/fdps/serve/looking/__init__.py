"""Pictures: those that clients bring, and those of scenes; decoded in processes with limits."""
