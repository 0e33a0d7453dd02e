/** @file A script for a `<script>` of a page, which exports nothing: its URL is what counts. */
export {};
