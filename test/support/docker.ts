// Whether a Docker engine is there to run servers in.

import { getContainerRuntimeClient } from 'testcontainers'

/** True when a Docker engine answers. */
export async function hasDocker(): Promise<boolean> {
  return await getContainerRuntimeClient().then(
    () => true,
    () => false
  )
}
