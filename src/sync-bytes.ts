/**
 * A large file is made durable piece by piece as it is written: a sync of all of it at once keeps the disk busy for so long that
 * the WAL's next commit, and with it every producer, waits behind it.
 */
export const SYNC_BYTES = 512 * 1024
