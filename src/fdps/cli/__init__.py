"""The command line: arguments become one library call, results are printed."""
