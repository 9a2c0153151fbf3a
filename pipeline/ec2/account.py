"""Amazon's EC2 as an account sees it: calls that are tried again, with errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session

from pipeline.errors import ClusterError, one_line

TRIES = 10  # of each call: EC2 tells those that come too often to come again
CONSOLE_LINES = 12  # of what a machine said while it started
POLICY = "`voxelforest cluster policy` prints what the account needs to be allowed"


class Account:
    """EC2 in one region, with the credentials of AWS's standard chain.

    Parameters
    ----------
    region : str, optional
        AWS's own setting by default.

    Raises
    ------
    ClusterError
        With the code ``ec2``, if there are no credentials or no region.
    """

    def __init__(self, region: str | None = None) -> None:
        session = botocore.session.get_session()
        found = region or session.get_config_variable("region")
        if not found:
            raise ClusterError("No region of EC2 is set: VOXELFOREST_EC2_REGION or AWS_DEFAULT_REGION", code="ec2")
        self.region = str(found)
        try:
            credentials = session.get_credentials()
            patience = botocore.config.Config(
                retries={"mode": "standard", "total_max_attempts": TRIES}, connect_timeout=10, read_timeout=60
            )
            self._client = session.create_client("ec2", region_name=self.region, config=patience)
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise ClusterError(f"EC2 cannot be used: {one_line(str(error))}", code="ec2") from error
        if credentials is None:
            raise ClusterError(
                "No credentials for EC2 found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                code="ec2",
            )

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one operation, named as in botocore.

        Raises
        ------
        ClusterError
            With EC2's own code, such as ``InvalidAMIID.NotFound``, or ``ec2`` where it did not answer.
        """
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**parameters)
        except Exception as error:
            raise explain(error, operation) from error
        return answer

    def pages(self, operation: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """All answers to an operation that comes in pages."""
        token: dict[str, Any] = {}
        while True:
            page = self.call(operation, **parameters, **token)
            yield page
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}

    def console(self, machine: str) -> list[str]:
        """The last lines that a machine wrote to its console; none if there are none yet."""
        try:
            text = self.call("get_console_output", InstanceId=machine).get("Output", "")
        except ClusterError:
            return []
        lines = [one_line(line) for line in text.splitlines()]
        return [line for line in lines if line][-CONSOLE_LINES:]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def explain(error: Exception, operation: str) -> ClusterError:
    """What EC2 or the way to it said, in one line."""
    if isinstance(error, ClusterError):
        return error
    if isinstance(error, botocore.exceptions.ClientError):
        found = error.response.get("Error", {})
        code, text = str(found.get("Code", "ec2")), one_line(str(found.get("Message", "")))
        if code in ("UnauthorizedOperation", "AccessDenied"):
            return ClusterError(f"EC2 does not allow {operation} to this account: {POLICY}", code=code)
        if code in ("AuthFailure", "InvalidClientTokenId", "ExpiredToken", "RequestExpired"):
            return ClusterError(f"EC2 does not take these credentials: {text}", code=code)
        return ClusterError(f"EC2 refused {operation}: {text}", code=code)
    return ClusterError(f"EC2 cannot be used: {one_line(str(error) or type(error).__name__)}", code="ec2")
