import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const server = process.env.TRIVIUM ?? "http://127.0.0.1:4319";

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2023",
    // A data: URL is not 'self' to the Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/prometheus", "/alertmanager", "/metrics", "/healthz", "/readyz"].map((path) => [path, { target: server }]),
    ),
  },
});
