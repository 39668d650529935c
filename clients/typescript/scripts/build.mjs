// Builds dist/ anew: what is published holds nothing of an older build.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';

const root = new URL('..', import.meta.url);
rmSync(new URL('dist', root), { recursive: true, force: true });
execFileSync('npx', ['--no-install', 'tsc', '-p', '.'], { cwd: root, stdio: 'inherit' });
