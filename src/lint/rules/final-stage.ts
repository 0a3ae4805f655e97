import { selectPlatform } from '../../oci/platform.ts'
import type { Rule } from '../rule.ts'

export const FinalStagePinned: Rule = {
  name: 'FinalStagePinned',
  description: 'The last stage is of another platform than the image that is made of it',
  from: 'archimage',
  level: 'error',
  remedy: 'leave --platform out of the last stage; platform-exception in archimage.yaml gives a reason to keep it',
  about:
    'What the last stage stands on is what ends up in the image. Pinned to `$BUILDPLATFORM` or to a constant it holds programs of that one architecture, under a label that says another. archimage refuses to build it, BuildKit builds it.',
  bad: {
    dockerfile:
      'FROM --platform=$BUILDPLATFORM golang:1.23 AS build\nRUN go build -o /app .\n\nFROM --platform=$BUILDPLATFORM alpine:3.20\nCOPY --from=build /app /app\n',
  },
  good: {
    dockerfile:
      'FROM --platform=$BUILDPLATFORM golang:1.23 AS build\nARG TARGETARCH\nRUN GOARCH=$TARGETARCH go build -o /app .\n\nFROM alpine:3.20\nCOPY --from=build /app /app\n',
  },
  check: {
    stage: ({ stage, root }, report, { target, platform, platformException }) => {
      if (stage !== target || platformException !== undefined) return
      const { platformFlag, base, platform: have } = root
      if (platformFlag === undefined || base.kind !== 'image' || selectPlatform(platform, [have])) return
      report(
        `The last stage is pinned to ${root.stage.from.platform}, so the image is not of the platform that it is for`,
        root.stage.from.range,
      )
    },
  },
}
