// An agent in a page.

import { operate } from './agent.js';

window.operate = operate;
