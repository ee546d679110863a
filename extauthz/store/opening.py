"""The store that the settings ask for."""

from extauthz.store import Store
from extauthz.store.clock import Clock
from extauthz.store.leases import Share
from extauthz.store.ledger import Ledger, private_cells
from extauthz.store.memory import private_store, shared_store
from extauthz.store.options import StoreOptions
from extauthz.store.redis import RedisStore


def open_store(options: StoreOptions) -> Store:
    """Counters of this process, of this machine, or of all replicas.

    OSError or ValueError where the file of counters cannot be used, or the URL is none.
    """
    if options.redis:
        ledger = Ledger(private_cells(options.counters, options.reservations))
        share = Share(options.replicas, options.overshoot)
        return RedisStore(options.redis, ledger, Clock(), share)
    if options.shared is not None:
        return shared_store(options.shared, options)
    return private_store(options)
