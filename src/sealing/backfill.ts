/** Where a partition's archive begins: with what comes from now on, or with what the broker's log still has. */
export type Backfill = 'captured' | 'earliest'
