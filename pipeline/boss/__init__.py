"""The volume archive: its volumes, opened lazily, and results pushed to it.

Examples
--------
>>> from pipeline.boss import BossArchive, channel_name
>>> channel_name("nomads-unsupervised_c_e_z_0_24_y_0_48_x_0_48", "All")
'nomads-unsupervised_c_e_z_0_24_y_0_48_x_0_48_All'
"""

from pipeline.boss.address import channel_name
from pipeline.boss.archive import BossArchive
from pipeline.boss.experiment import BossChannel, Experiment

__all__ = ["BossArchive", "BossChannel", "Experiment", "channel_name"]
