"""Facts about AWS KMS, which AWS itself has answered."""

from aws_facts import encryption, keys, names, operations

FACTS = (*keys.FACTS, *names.FACTS, *operations.FACTS, *encryption.FACTS)
