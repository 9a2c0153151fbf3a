"""The rows of `pipeline.config` about clusters: certificates, and machines of EC2."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings

from pipeline.setting import row


class ClusterSettings(BaseSettings):
    """What schedulers on other machines need, and what those on EC2 may be and may cost."""

    tls_ca: Path | None = row(
        None, "file", "Certificate of the authority that a tls:// scheduler and its workers show, PEM.", shown="none"
    )
    tls_certificate: Path | None = row(
        None, "file", "Certificate that a client shows to a tls:// scheduler, PEM.", shown="none"
    )
    tls_key: Path | None = row(None, "file", "Private key of that certificate, PEM.", shown="none")
    dashboard_port: int | None = row(
        None,
        "port",
        "Port on 127.0.0.1 of Dask's dashboard and metrics, for a scheduler that is made here (threads, local); 0 "
        "takes a free one. The dashboard needs bokeh.",
        shown="none",
        ge=0,
        le=65535,
    )
    scaling_seconds: float = row(
        5.0,
        "seconds",
        "How often a cluster between two bounds is fitted to its work, and missing workers are made.",
        gt=0,
    )
    ec2_image: str | None = row(
        None, "id", "Machine image (ami-…) of EC2 instances, with Docker in it; needed for `ec2`.", shown="none"
    )
    ec2_container: str | None = row(
        None, "image", "Docker image with this package, pinned by tag or digest; needed for `ec2`.", shown="none"
    )
    ec2_region: str | None = row(None, "name", "Region of EC2 instances.", shown="AWS's own setting")
    ec2_worker_type: str = row("c6i.2xlarge", "type", "EC2 type of workers.")
    ec2_scheduler_type: str = row("c6i.large", "type", "EC2 type of the scheduler.")
    ec2_subnet: str | None = row(None, "id", "Subnet of EC2 instances.", shown="the default network's first subnet")
    ec2_security_group: str | None = row(
        None,
        "id",
        "Security group of EC2 instances that exists already.",
        shown="one is made for each cluster and open to the client alone",
    )
    ec2_client: str | None = row(
        None, "address", "Addresses that may reach the scheduler, as 203.0.113.7/32.", shown="this machine's, found out"
    )
    ec2_address_service: str = row(
        "https://checkip.amazonaws.com", "URL", "Who is asked for the address that this machine has on the internet."
    )
    ec2_private: bool = row(
        False, "0 or 1", "Whether instances have private addresses alone: for clients inside the network, or a VPN."
    )
    ec2_dashboard: bool = row(
        False, "0 or 1", "Whether Dask's dashboard is open to the client's address, by plain HTTP on port 8787."
    )
    ec2_spot: bool = row(False, "0 or 1", "Whether workers are spot instances: cheaper, and taken away at times.")
    ec2_profile: str | None = row(
        None, "name", "Instance profile, the role that lets workers read and write object stores.", shown="none"
    )
    ec2_disk: int = row(40, "GB", "Disk of an EC2 instance; machine and Docker image have to fit.", ge=8)
    ec2_project: str = row("voxelforest", "text", "Tag `project` of all that is made on EC2, for the bill.")
    ec2_owner: str | None = row(None, "text", "Tag `owner` of all that is made on EC2.", shown="user@host")
    ec2_prices: str = row(
        "", "USD an hour", "Prices of instance types, such as c7i.2xlarge=0.36, that replace those of the table."
    )
    ec2_workers: int = row(20, "instances", "Most workers of a cluster on EC2; more are refused.", ge=1)
    ec2_hours: float = row(
        12.0, "hours", "Longest life of a cluster on EC2; its instances switch themselves off then.", gt=0
    )
    ec2_spare_seconds: float = row(
        60.0, "seconds", "How long a worker on EC2 may be spare until a cluster between two bounds gives it back.", ge=0
    )
    ec2_start_seconds: float = row(
        600.0, "seconds", "How long an EC2 instance may take until its part of the cluster answers.", gt=0
    )
    ec2_idle_seconds: float = row(
        1800.0, "seconds", "How long a cluster on EC2 may have nothing to do until it switches itself off.", ge=1
    )
    ec2_orphan_seconds: float = row(
        300.0, "seconds", "How long a worker on EC2 looks for its scheduler until it switches itself off.", ge=1
    )
