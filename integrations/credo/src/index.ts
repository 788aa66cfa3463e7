export { MinikmsProblem, type PerContext } from './client.js'
export { MinikmsKeyManagementService, type MinikmsOptions } from './MinikmsKeyManagementService.js'
