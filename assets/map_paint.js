// Draws the points of the map: with WebGL, or on a plain canvas where the browser has none. Nothing here selects.
// pages/ui/map_plot.py puts this file first, then map_shapes.js and map.js.

const SELECTED = 1;
const MARKED = 2;

const VERTEX = `
attribute vec2 place; attribute vec3 colour; attribute float flag;
uniform vec2 centre; uniform vec2 scale; uniform float size; uniform float turn; uniform float dim;
varying vec4 tint; varying float ring;
void main() {
  bool selected = mod(flag, 2.0) > 0.5; bool marked = flag > 1.5;
  bool mine = turn < 0.5 ? !selected : turn < 1.5 ? selected : marked;
  gl_Position = mine ? vec4((place - centre) * scale, 0.0, 1.0) : vec4(9.0, 9.0, 0.0, 1.0);
  ring = turn > 1.5 ? 1.0 : 0.0;
  gl_PointSize = size * (ring > 0.5 ? 2.6 : selected ? 1.35 : 1.0);
  tint = vec4(colour, turn < 0.5 ? dim : 1.0);
}`;
const FRAGMENT = `
precision mediump float;
varying vec4 tint; varying float ring; uniform vec3 ink;
void main() {
  float far = length(gl_PointCoord - 0.5) * 2.0;
  float alpha = 1.0 - smoothstep(0.75, 1.0, far);
  if (ring > 0.5) { alpha *= smoothstep(0.5, 0.65, far); gl_FragColor = vec4(ink * alpha, alpha); return; }
  gl_FragColor = vec4(tint.rgb, 1.0) * (alpha * tint.a);
}`;

// A view: `x`, `y` are the point of the map in the middle of the canvas, `zoom` its pixels a unit of the map.

class GlPainter {
  static make(canvas) {
    const gl = canvas.getContext("webgl", { antialias: false, premultipliedAlpha: true });
    return gl ? new GlPainter(canvas, gl) : null;
  }

  constructor(canvas, gl) {
    this.kind = "WebGL";
    this.canvas = canvas;
    this.gl = gl;
    this.count = 0;
    this.build();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  }

  build() {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.uniforms = {};
    for (const name of ["centre", "scale", "size", "turn", "dim", "ink"])
      this.uniforms[name] = gl.getUniformLocation(program, name);
    this.buffers = {};
    for (const [name, width, kind] of [["place", 2, gl.FLOAT], ["colour", 3, gl.UNSIGNED_BYTE], ["flag", 1, gl.UNSIGNED_BYTE]]) {
      const at = gl.getAttribLocation(program, name);
      this.buffers[name] = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, width, kind, name === "colour", 0, 0);
    }
  }

  put(name, values) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    if (name === "place") this.count = values.length / 2;
    if (name === "flag") {
      this.some = values.some((flag) => flag & SELECTED);
      this.marked = values.some((flag) => flag & MARKED);
    }
  }

  paint(view, size, ink) {
    const { gl, uniforms, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.count) return;
    gl.uniform2f(uniforms.centre, view.x, view.y);
    gl.uniform2f(uniforms.scale, (2 * view.zoom) / view.width, (2 * view.zoom) / view.height);
    gl.uniform1f(uniforms.size, size * (canvas.width / view.width));
    gl.uniform1f(uniforms.dim, this.some ? 0.16 : 0.85);
    gl.uniform3f(uniforms.ink, ink[0] / 255, ink[1] / 255, ink[2] / 255);
    for (const turn of [0, this.some ? 1 : -1, this.marked ? 2 : -1]) {
      if (turn < 0) continue;
      gl.uniform1f(uniforms.turn, turn);
      gl.drawArrays(gl.POINTS, 0, this.count);
    }
  }
}

class PlainPainter {
  constructor(canvas) {
    this.kind = "canvas";
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.place = new Float32Array();
    this.colour = new Uint8Array();
    this.flag = new Uint8Array();
  }

  put(name, values) {
    this[name] = values;
    if (name !== "colour") return;
    this.groups = new Map();
    for (let at = 0; at < values.length / 3; at += 1) {
      const key = `rgb(${values[3 * at]},${values[3 * at + 1]},${values[3 * at + 2]})`;
      if (!this.groups.has(key)) this.groups.set(key, []);
      this.groups.get(key).push(at);
    }
  }

  paint(view, size, ink) {
    const { context, canvas, place, flag } = this;
    const ratio = canvas.width / view.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    const some = flag.some((one) => one & SELECTED);
    const screen = (at) => [
      view.width / 2 + (place[2 * at] - view.x) * view.zoom, view.height / 2 - (place[2 * at + 1] - view.y) * view.zoom,
    ];
    for (const selected of some ? [false, true] : [false]) {
      context.globalAlpha = some && !selected ? 0.16 : 0.85;
      const side = size * (selected ? 1.35 : 1);
      for (const [colour, members] of this.groups ?? []) {
        context.fillStyle = colour;
        for (const at of members) {
          if (some && Boolean(flag[at] & SELECTED) !== selected) continue;
          const [x, y] = screen(at);
          if (x < 0 || y < 0 || x > view.width || y > view.height) continue;
          context.fillRect(x - side / 2, y - side / 2, side, side);
        }
      }
    }
    context.globalAlpha = 1;
    context.strokeStyle = `rgb(${ink.join(",")})`;
    context.lineWidth = 1.5;
    for (let at = 0; at < flag.length; at += 1) {
      if (!(flag[at] & MARKED)) continue;
      const [x, y] = screen(at);
      context.beginPath();
      context.arc(x, y, size, 0, 7);
      context.stroke();
    }
  }
}
