"""Parts of `gpulab:identity` about passwords, locks, sessions, the log, mails and themes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt

from settings.language.secret_reference import Secret
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import whole
from settings.people.providers import Text
from settings.people.values import Email, HostName


class PasswordPolicy(Section):
    """What a password must be. It never equals or contains the user name, nor equals the e-mail address."""

    min_length: Annotated[StrictInt, whole(8, 128, "characters")] = Field(default=12, description="Least length.")
    upper_case: Annotated[StrictInt, whole(0, 8)] = Field(default=1, description="Upper-case letters, at least.")
    lower_case: Annotated[StrictInt, whole(0, 8)] = Field(default=1, description="Lower-case letters, at least.")
    digits: Annotated[StrictInt, whole(0, 8)] = Field(default=1, description="Digits, at least.")
    special_characters: Annotated[StrictInt, whole(0, 8)] = Field(default=0, description="Other signs, at least.")
    history: Annotated[StrictInt, whole(0, 24)] = Field(
        default=3, description="How many of the last passwords are refused."
    )
    max_age_days: Annotated[StrictInt, whole(1, 3650, "days")] | None = Field(
        default=None,
        description="Days after which a password must be changed; none: never, as NIST SP 800-63B advises.",
    )


class BruteForce(Section):
    """What happens to an account when somebody guesses passwords."""

    max_failures: Annotated[StrictInt, whole(2, 100)] = Field(
        default=5, description="Wrong passwords after which the account is locked for a while."
    )
    lock_seconds: Annotated[StrictInt, whole(1, 86400, "seconds")] = Field(
        default=60, description="Seconds of the first lock; each further lock is longer by as much."
    )
    max_lock_seconds: Annotated[StrictInt, whole(1, 86400, "seconds")] = Field(
        default=900, description="Seconds that a lock lasts at most."
    )
    reset_seconds: Annotated[StrictInt, whole(60, 604800, "seconds")] = Field(
        default=43200, description="Seconds without a wrong password after which counting starts again."
    )

    @rule
    def _first_lock_within_the_longest(self, facts: Facts) -> Findings:
        if self.lock_seconds > self.max_lock_seconds:
            yield ("lockSeconds",), f"is longer than maxLockSeconds, {self.max_lock_seconds}"


class Sessions(Section):
    """How long a sign-in lasts."""

    idle_minutes: Annotated[StrictInt, whole(5, 10080, "minutes")] = Field(
        default=120, description="Minutes without a request after which people sign in again."
    )
    max_hours: Annotated[StrictInt, whole(1, 720, "hours")] = Field(
        default=12, description="Hours after which people sign in again in any case."
    )
    access_token_minutes: Annotated[StrictInt, whole(1, 60, "minutes")] = Field(
        default=5, description="Minutes that an access token is valid; after that time a lost group takes effect."
    )
    per_person: Annotated[StrictInt, whole(1, 100)] | None = Field(
        default=None, description="Sessions that a person may have at once; a further one ends the oldest."
    )

    @rule
    def _idle_within_the_longest(self, facts: Facts) -> Findings:
        if self.idle_minutes > self.max_hours * 60:
            yield ("idleMinutes",), f"is longer than a session may last, which is {self.max_hours} hours (maxHours)"


class Events(Section):
    """The log of sign-ins and of what administrators changed, kept in Keycloak's database."""

    retention_days: Annotated[StrictInt, whole(1, 730, "days")] = Field(
        default=90, description="Days that events are kept."
    )


class Mail(Section):
    """The server through which Keycloak sends mail (forgotten passwords, verification), always over TLS."""

    sender: Email = Field(description="The address that mails come from.", alias="from")
    sender_name: Text | None = Field(default=None, description="The name beside that address.", alias="fromName")
    reply_to: Email | None = Field(default=None, description="Where answers go, if not to the sender.")
    host: HostName = Field(description="The mail server, such as email-smtp.us-east-1.amazonaws.com.")
    port: Annotated[StrictInt, whole(1, 65535)] = Field(
        default=587, description="Its port; use 465 with encryption tls."
    )
    encryption: Literal["starttls", "tls"] = Field(default="starttls", description="starttls, or tls from the start.")
    user: Text | None = Field(default=None, description="The name to sign in as, if the server asks for one.")
    password: Secret | None = Field(default=None, description="Where the password of that name is.")

    @rule
    def _user_with_password(self, facts: Facts) -> Findings:
        if (self.user is None) != (self.password is None):
            yield ("user" if self.user is None else "password",), "is missing: user and password go together"


class Themes(Section):
    """The looks of Keycloak's pages, by name: those it comes with, or those in an image of yours."""

    login: Text | None = Field(default=None, description="The sign-in pages.")
    account: Text | None = Field(default=None, description="The page of one's own account.")
    email: Text | None = Field(default=None, description="Mails.")
