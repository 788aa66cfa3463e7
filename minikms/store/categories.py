"""The categories of entries, and the names of single ones."""

from typing import Final

# In every profile.

# The name of the entry with the profile's own name, sealing key and time of creation.
SELF: Final = "self"

# The entry with the last place in the order of creation (`store/askar/sequence.py`). It does not
# have a change counter, since cached values do not depend on it.
SEQUENCE: Final = "minikms.sequence"

# The record of a key, and its sealed material; named by the kid.
KEY: Final = "minikms.key"

# The versions of an alias (versions.py); named by `alias_entry` (store/keys/entries.py).
ALIAS: Final = "minikms.alias"

# An entry for each scheduled deletion: its name is the kid, a tag has the time.
DELETION: Final = "minikms.deletion"
# The same for each scheduled rotation.
ROTATION: Final = "minikms.rotation"

# A key's uses of a day, if its rules limit them; the name is the kid.
DAY_USES: Final = "minikms.uses"

# The approvals that uses of keys wait for, or have; the name is the id.
APPROVAL: Final = "minikms.approval"

# Exists if everybody may read the profile's JWK Set.
PUBLISHED: Final = "minikms.published"

# In the store's own profile.

# Entries about the store: its layout, whether it is finished, its last change of key.
STORE: Final = "minikms.store"

# The entries of profiles in the directory, and the entry `SELF` in each profile.
PROFILE: Final = "minikms.profile"

# Askar's name of a profile that arrives from another store, by its name, until it is complete.
ARRIVING: Final = "minikms.arriving"

TOKENS: Final = "minikms.token"

# The hours in which keys of profiles are due (`store/profiles/due_hours.py`).
DUE: Final = "minikms.due"

# Times of last uses of keys, of all profiles; not the uses of a day (`DAY_USES`). A tag has Askar's
# name of the profile.
LAST_USES: Final = "minikms.use"
