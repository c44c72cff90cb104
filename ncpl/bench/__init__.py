"""The leaderboard: every law, baseline and bundle on one frozen split."""
