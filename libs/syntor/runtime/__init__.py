"""What every process needs: settings, logs with correlation, health, and a start and stop that lose nothing."""
