"""Facts about AWS KMS, known from answers of AWS itself."""

from aws_facts import encryption, keys, names, operations

FACTS = (*keys.FACTS, *names.FACTS, *operations.FACTS, *encryption.FACTS)
